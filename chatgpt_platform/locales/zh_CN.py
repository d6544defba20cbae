"""Simplified Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, str]] = {
    # What was asked
    "bad_request": "无法理解该请求。",
    "bad_http": "请求不符合 HTTP/1.1 规范。",
    "request_timeout": "未能及时收到完整的请求。",
    "missing_prompt": "缺少提问内容，请通过 prompt 或 user_content 提供。",
    "blank_prompt": "提问内容为空，请在 prompt 或 user_content 中填写。",
    "bad_json": "请求体不是有效的 JSON。",
    "not_utf8": "请求不是有效的 UTF-8 编码。",
    "too_deep": "JSON 嵌套层数过多。",
    "not_an_object": "JSON 请求体必须是对象。",
    "wrong_type_string": "{member} 必须是字符串。",
    "wrong_type_integer": "{member} 必须是整数。",
    "wrong_type_number": "{member} 必须是数字。",
    "wrong_type_boolean": "{member} 必须是 true 或 false。",
    "wrong_type_turns": '{member} 必须是对话列表，其中每一项形如 {{"role": "user", "content": "你好"}}。',
    "wrong_type_turn": '{member} 必须是一条对话，形如 {{"role": "user", "content": "你好"}}。',
    "out_of_range": "{member} 不能小于 {low}。",
    "duplicate_member": "{member} 重复出现。",
    "forbidden_member": "请求不能指定 {member}。",
    "too_many_parameters": "参数过多，最多允许 {limit} 个。",
    "bad_form": "无法读取表单内容。",
    "encoding": "此处不接受压缩的请求体。",
    "media_type": "此处不接受这种内容类型，请使用 {types}。",
    "too_large": "请求过大，最多允许 {limit}。",
    "target_too_long": "请求的 URL 过长。",
    "headers_too_large": "请求头过大。",
    # Who asked
    "missing_key": "缺少 API 密钥，请通过 ApiKey 请求头或 api_key 参数提供。",
    "missing_bearer": "缺少 API 密钥，请通过 Authorization: Bearer 请求头提供。",
    "key_refused": "API 密钥未被接受。",
    "address_denied": "您的地址不允许访问此服务。",
    "forbidden": "不允许此操作。",
    "too_many_requests": "请求过于频繁，请在 {seconds} 秒后重试。",
    "key_expired": "API 密钥已过期。",
    "key_revoked": "API 密钥已被撤销。",
    "key_not_from_here": "此 API 密钥不能在您的地址使用。",
    "model_not_allowed": "此 API 密钥不能使用模型 {model}。",
    "too_many_requests_of_key": "此 API 密钥的请求过多，请在 {seconds} 秒后重试。",
    "too_many_tokens": "此 API 密钥的令牌用量过多，请在 {seconds} 秒后重试。",
    "key_busy": "此 API 密钥正在进行的请求过多，请在 {seconds} 秒后重试。",
    "over_budget": "此 API 密钥的额度（{budget}）已用完，将于 {time} 重置。",
    "budget_low": "此 API 密钥的剩余额度（{budget}）不足以完成此请求，将于 {time} 重置。",
    "budget_used_up": "此 API 密钥的额度（{budget}）已用完。",
    "budget_too_small": "此请求所需超过了此 API 密钥的额度（{budget}）。",
    "budget_in_use": "此 API 密钥的剩余额度正被进行中的请求占用，请在 {seconds} 秒后重试。",
    # Where to
    "not_found": "路径 {path} 不存在。",
    "method_not_allowed": "此处不支持 {method} 方法。",
    # What the model service did
    "upstream_busy": "模型服务提示请求过多，请稍后重试。",
    "upstream_said": "模型服务答复：{reason}",
    "unknown_model": "模型服务找不到该模型：{reason}",
    "model_not_served": "这里没有提供 {model} 的模型服务。",
    "upstream_refused": "模型服务拒绝了该请求，状态码 {status}。",
    "upstream_failed": "模型服务出错，状态码 {status}，请稍后重试。",
    "bad_upstream": "模型服务返回了无法使用的答复。",
    "upstream_unreachable": "无法连接模型服务。",
    "upstream_broke_off": "模型服务在答复过程中中断。",
    "upstream_too_large": "模型服务的答复过大。",
    "upstream_timeout": "模型服务响应超时。",
    "upstream_down": "{because}{seconds} 秒后会再次尝试。",
    "upstream_no_stream": "模型服务返回的不是流式回答。",
    # What happened here
    "fault": "服务内部出错，这不是您的问题。",
    "unavailable": "服务暂时不可用，请稍后重试。",
    "overloaded": "服务目前过于繁忙，请在 {seconds} 秒后重试。",
    "draining": "服务正在关闭，请稍后重试。",
    # Who used what
    "missing_token": "缺少管理令牌，请通过 Authorization: Bearer 请求头提供。",
    "token_refused": "管理令牌未被接受。",
    "too_many_refusals": "被拒绝的尝试过多，请在 {seconds} 秒后重试。",
    "unknown_parameter": "此处没有参数 {member}。",
    "wrong_word": "{member} 必须是以下之一：{words}。",
    "wrong_moment": (
        "{member} 必须是日期（如 2026-11-01）、日期和时间（如 2026-11-01T12:30）或距今时长（如 24h、7d、2w）。"
    ),
    "too_long": "{member} 过长：最多 {limit} 个字符。",
    "no_ledger": "此网关不记录调用：state.directory 为空。",
    "ledger_failed": "目前无法读取调用记录。",
    "report_too_slow": "报表耗时过长，请缩短时间段。",
}
