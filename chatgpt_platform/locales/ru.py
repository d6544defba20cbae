"""Russian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, str]] = {
    # What was asked
    "bad_request": "Не удалось понять запрос.",
    "bad_http": "Запрос не соответствует HTTP/1.1.",
    "request_timeout": "Запрос не поступил вовремя.",
    "missing_prompt": "Нет текста запроса. Укажите его в prompt или user_content.",
    "blank_prompt": "Текст запроса пуст. Напишите что-нибудь в prompt или user_content.",
    "bad_json": "Тело запроса не является корректным JSON.",
    "not_utf8": "Запрос не является корректным текстом в UTF-8.",
    "too_deep": "Слишком глубокая вложенность JSON.",
    "not_an_object": "Тело запроса в JSON должно быть объектом.",
    "wrong_type_string": "Значение {member} должно быть строкой.",
    "wrong_type_integer": "Значение {member} должно быть целым числом.",
    "wrong_type_number": "Значение {member} должно быть числом.",
    "wrong_type_boolean": "Значение {member} должно быть true или false.",
    "wrong_type_turns": (
        'Значение {member} должно быть списком реплик вида {{"role": "user", "content": "Привет"}}.'
    ),
    "wrong_type_turn": '{member}: нужна реплика вида {{"role": "user", "content": "Привет"}}.',
    "out_of_range": "Значение {member} должно быть не меньше {low}.",
    "duplicate_member": "Значение {member} указано больше одного раза.",
    "forbidden_member": "В запросе нельзя указывать {member}.",
    "too_many_parameters": "Слишком много параметров. Допускается не более {limit}.",
    "bad_form": "Не удалось прочитать форму.",
    "encoding": "Сжатые тела запросов здесь не принимаются.",
    "media_type": "Такой тип содержимого здесь не принимается. Используйте {types}.",
    "too_large": "Запрос слишком велик. Допускается не более {limit}.",
    "target_too_long": "URL запроса слишком длинный.",
    "headers_too_large": "Заголовки запроса слишком велики.",
    # Who asked
    "missing_key": "Нет API-ключа. Укажите его в заголовке ApiKey или в параметре api_key.",
    "missing_bearer": "Нет API-ключа. Укажите его в заголовке Authorization: Bearer.",
    "key_refused": "API-ключ отклонён.",
    "address_denied": "С вашего адреса доступ не разрешён.",
    "forbidden": "Это действие не разрешено.",
    "too_many_requests": "Слишком много запросов. Повторите через {seconds} с.",
    "key_expired": "Срок действия API-ключа истёк.",
    "key_revoked": "API-ключ отозван.",
    "key_not_from_here": "Этот API-ключ не действует с вашего адреса.",
    "model_not_allowed": "Этот API-ключ не подходит для модели {model}.",
    "too_many_requests_of_key": "Слишком много запросов с этим API-ключом. Повторите через {seconds} с.",
    "too_many_tokens": "Слишком много токенов с этим API-ключом. Повторите через {seconds} с.",
    "key_busy": "Слишком много вызовов с этим API-ключом уже выполняется. Повторите через {seconds} с.",
    "over_budget": "Лимит этого API-ключа ({budget}) исчерпан. Он обновится: {time}.",
    "budget_low": "Остатка лимита этого API-ключа ({budget}) не хватит на этот вызов. Он обновится: {time}.",
    "budget_used_up": "Лимит этого API-ключа ({budget}) исчерпан.",
    "budget_too_small": "Для этого вызова нужно больше, чем позволяет лимит этого API-ключа ({budget}).",
    "budget_in_use": "Остаток лимита этого API-ключа занят выполняемыми вызовами. Повторите через {seconds} с.",
    # Where to
    "not_found": "Путь {path} не найден.",
    "method_not_allowed": "Метод {method} здесь не поддерживается.",
    # What the model service did
    "upstream_busy": "Сервис модели сообщает, что запросов слишком много. Повторите попытку позже.",
    "upstream_said": "Ответ сервиса модели: {reason}",
    "unknown_model": "Сервис модели не знает такой модели: {reason}",
    "model_not_served": "Ни один сервис моделей здесь не предлагает {model}.",
    "upstream_refused": "Сервис модели отклонил запрос с кодом {status}.",
    "upstream_failed": "Сбой в сервисе модели, код {status}. Повторите позже.",
    "bad_upstream": "Сервис модели дал ответ, который нельзя использовать.",
    "upstream_unreachable": "Сервис модели недоступен.",
    "upstream_broke_off": "Сервис модели прервал ответ на середине.",
    "upstream_too_large": "Ответ сервиса модели слишком велик.",
    "upstream_timeout": "Сервис модели не ответил вовремя.",
    "upstream_down": "{because} Следующая попытка через {seconds} с.",
    "upstream_no_stream": "Сервис моделей ответил не потоком.",
    # What happened here
    "fault": "Произошла внутренняя ошибка. Дело не в вашем запросе.",
    "unavailable": "Сервис временно недоступен. Повторите попытку позже.",
    "overloaded": "Сервис сейчас перегружен. Повторите попытку через {seconds} с.",
    "draining": "Сервис завершает работу. Повторите попытку чуть позже.",
    # Who used what
    "missing_token": "Нет токена администратора. Укажите его в заголовке Authorization: Bearer.",
    "token_refused": "Токен администратора отклонён.",
    "too_many_refusals": "Слишком много отклонённых попыток. Повторите через {seconds} с.",
    "unknown_parameter": "Параметра {member} здесь нет.",
    "wrong_word": "Значение {member} должно быть одним из: {words}.",
    "wrong_moment": (
        "Значение {member} должно быть датой (2026-11-01), датой и временем (2026-11-01T12:30) или "
        "давностью (24h, 7d, 2w)."
    ),
    "too_long": "Значение {member} слишком длинное: не более {limit} знаков.",
    "no_ledger": "Этот шлюз не ведёт учёта вызовов: параметр state.directory пуст.",
    "ledger_failed": "Учёт вызовов сейчас недоступен.",
    "report_too_slow": "Отчёт занял слишком много времени. Запросите более короткий период.",
}
