"""What callers are told, in Russian."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad_request": "Запрос составлен неверно.",
        "missing_prompt": "Текст запроса отсутствует или пуст: укажите prompt (или user_content).",
        "bad_json": "Тело запроса не является корректным JSON.",
        "not_utf8": "Запрос не является корректным текстом UTF-8.",
        "too_deep": "Слишком глубокая вложенность JSON.",
        "not_an_object": "Тело JSON должно быть объектом.",
        "wrong_type_string": "{member}: нужна строка.",
        "wrong_type_integer": "{member}: нужно целое число.",
        "wrong_type_number": "{member}: нужно число.",
        "wrong_type_boolean": "{member}: нужно true или false.",
        "wrong_type_turns": "{member}: нужен список реплик, у каждой из которых есть role и content.",
        "out_of_range": "{member}: значение не может быть меньше {low}.",
        "duplicate_member": "{member}: указано больше одного раза.",
        "forbidden_member": "{member}: в запросе этого указывать нельзя.",
        "too_many_parameters": "Слишком много параметров: допускается не более {limit}.",
        "bad_form": "Не удалось прочитать форму.",
        "missing_key": "Нет ключа API: укажите его в заголовке ApiKey или в параметре api_key.",
        "key_refused": "Ключ API отклонён, проверьте его.",
        "address_denied": "С вашего адреса доступ к этому сервису запрещён.",
        "forbidden": "Сервис модели не разрешает это действие.",
        "not_found": "Путь {path} не существует.",
        "method_not_allowed": "Метод {method} здесь не разрешён.",
        "too_large": "Запрос слишком велик: допускается не более {limit}.",
        "media_type": "Такой тип содержимого здесь не читается; используйте: {types}.",
        "encoding": "Сжатое тело запроса здесь не читается; отправьте его без сжатия.",
        "too_many_requests": "Слишком много запросов. Повторите через {seconds} с.",
        "upstream_busy": "Сервис модели сейчас перегружен запросами. Повторите позже.",
        "upstream_said": "Ответ сервиса модели: {reason}",
        "unknown_model": "Сервис модели не знает такой модели: {reason}",
        "upstream_refused": "Сервис модели отклонил запрос с кодом {status}.",
        "fault": "Внутренняя ошибка шлюза; подробности есть в журнале у владельца.",
        "bad_upstream": "Сервис модели дал ответ, который нельзя использовать.",
        "upstream_unreachable": "Сервис модели недоступен.",
        "upstream_broke_off": "Сервис модели прервал ответ на середине.",
        "upstream_too_large": "Ответ сервиса модели слишком велик.",
        "upstream_timeout": "Сервис модели отвечает слишком долго.",
        "unavailable": "Сервис сейчас недоступен. Повторите позже.",
        "draining": "Сервис завершает работу. Повторите чуть позже.",
    }
)
