"""What callers are told, in Simplified Chinese."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad_request": "请求无效。",
        "missing_prompt": "缺少提示内容或内容为空：请提供 prompt（或 user_content）。",
        "bad_json": "请求体不是有效的 JSON。",
        "not_utf8": "请求不是有效的 UTF-8 文本。",
        "too_deep": "JSON 嵌套层数过多。",
        "not_an_object": "JSON 请求体必须是一个对象。",
        "wrong_type_string": "{member} 必须是字符串。",
        "wrong_type_integer": "{member} 必须是整数。",
        "wrong_type_number": "{member} 必须是数字。",
        "wrong_type_boolean": "{member} 必须是 true 或 false。",
        "wrong_type_turns": "{member} 必须是对话列表，每一项都要有 role 和 content。",
        "out_of_range": "{member} 不能小于 {low}。",
        "duplicate_member": "{member} 重复出现。",
        "forbidden_member": "请求不能指定 {member}。",
        "too_many_parameters": "参数过多：最多 {limit} 个。",
        "bad_form": "无法读取表单。",
        "missing_key": "没有 API Key：请在 ApiKey 请求头或 api_key 参数中提供。",
        "key_refused": "API Key 被拒绝，请检查。",
        "address_denied": "您的地址没有使用此服务的权限。",
        "forbidden": "模型服务不允许此操作。",
        "not_found": "路径 {path} 不存在。",
        "method_not_allowed": "此处不允许使用 {method} 方法。",
        "too_large": "请求过大：最大为 {limit}。",
        "media_type": "不支持此内容类型，请使用：{types}。",
        "encoding": "不支持压缩的请求体，请直接发送原始内容。",
        "too_many_requests": "请求过于频繁，请在 {seconds} 秒后重试。",
        "upstream_busy": "模型服务当前请求过多，请稍后重试。",
        "upstream_said": "模型服务返回：{reason}",
        "unknown_model": "模型服务没有此模型：{reason}",
        "upstream_refused": "模型服务拒绝了请求，状态码 {status}。",
        "fault": "网关内部错误，管理员可以在日志中查看原因。",
        "bad_upstream": "模型服务返回了无法使用的内容。",
        "upstream_unreachable": "无法连接到模型服务。",
        "upstream_broke_off": "模型服务在回答过程中中断。",
        "upstream_too_large": "模型服务的回答过大。",
        "upstream_timeout": "模型服务响应超时。",
        "unavailable": "服务暂时不可用，请稍后重试。",
        "draining": "服务正在关闭，请稍后重试。",
    }
)
