"""Traditional Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, str]] = {
    # What was asked
    "bad_request": "無法理解此請求。",
    "bad_http": "請求不符合 HTTP/1.1 規範。",
    "request_timeout": "未能及時收到完整的請求。",
    "missing_prompt": "缺少提問內容，請透過 prompt 或 user_content 提供。",
    "blank_prompt": "提問內容為空白，請在 prompt 或 user_content 中填寫。",
    "bad_json": "請求主體不是有效的 JSON。",
    "not_utf8": "請求不是有效的 UTF-8 編碼。",
    "too_deep": "JSON 巢狀層數過多。",
    "not_an_object": "JSON 請求主體必須是物件。",
    "wrong_type_string": "{member} 必須是字串。",
    "wrong_type_integer": "{member} 必須是整數。",
    "wrong_type_number": "{member} 必須是數字。",
    "wrong_type_boolean": "{member} 必須是 true 或 false。",
    "wrong_type_turns": '{member} 必須是對話清單，其中每一項形如 {{"role": "user", "content": "你好"}}。',
    "wrong_type_turn": '{member} 必須是一則對話，形如 {{"role": "user", "content": "你好"}}。',
    "out_of_range": "{member} 不能小於 {low}。",
    "duplicate_member": "{member} 重複出現。",
    "forbidden_member": "請求不能指定 {member}。",
    "too_many_parameters": "參數過多，最多允許 {limit} 個。",
    "bad_form": "無法讀取表單內容。",
    "encoding": "此處不接受壓縮的請求主體。",
    "media_type": "此處不接受這種內容類型，請使用 {types}。",
    "too_large": "請求過大，最多允許 {limit}。",
    "target_too_long": "請求的 URL 過長。",
    "headers_too_large": "請求標頭過大。",
    # Who asked
    "missing_key": "缺少 API 金鑰，請透過 ApiKey 標頭或 api_key 參數提供。",
    "missing_bearer": "缺少 API 金鑰，請透過 Authorization: Bearer 標頭提供。",
    "key_refused": "API 金鑰未被接受。",
    "address_denied": "您的位址不允許存取此服務。",
    "forbidden": "不允許此操作。",
    "too_many_requests": "請求過於頻繁，請在 {seconds} 秒後重試。",
    "key_expired": "API 金鑰已過期。",
    "key_revoked": "API 金鑰已被撤銷。",
    "key_not_from_here": "此 API 金鑰不能在您的位址使用。",
    "model_not_allowed": "此 API 金鑰不能使用模型 {model}。",
    "too_many_requests_of_key": "此 API 金鑰的請求過多，請在 {seconds} 秒後重試。",
    "too_many_tokens": "此 API 金鑰的權杖用量過多，請在 {seconds} 秒後重試。",
    "key_busy": "此 API 金鑰進行中的請求過多，請在 {seconds} 秒後重試。",
    "over_budget": "此 API 金鑰的額度（{budget}）已用完，將於 {time} 重置。",
    "budget_low": "此 API 金鑰的剩餘額度（{budget}）不足以完成此請求，將於 {time} 重置。",
    "budget_used_up": "此 API 金鑰的額度（{budget}）已用完。",
    "budget_too_small": "此請求所需超過了此 API 金鑰的額度（{budget}）。",
    "budget_in_use": "此 API 金鑰的剩餘額度正被進行中的請求占用，請在 {seconds} 秒後重試。",
    # Where to
    "not_found": "路徑 {path} 不存在。",
    "method_not_allowed": "此處不支援 {method} 方法。",
    # What the model service did
    "upstream_busy": "模型服務表示請求過多，請稍後重試。",
    "upstream_said": "模型服務回覆：{reason}",
    "unknown_model": "模型服務找不到此模型：{reason}",
    "model_not_served": "這裡沒有提供 {model} 的模型服務。",
    "upstream_refused": "模型服務拒絕了此請求，狀態碼 {status}。",
    "upstream_failed": "模型服務發生錯誤，狀態碼 {status}，請稍後再試。",
    "bad_upstream": "模型服務傳回了無法使用的回覆。",
    "upstream_unreachable": "無法連線至模型服務。",
    "upstream_broke_off": "模型服務在回覆過程中中斷。",
    "upstream_too_large": "模型服務的回覆過大。",
    "upstream_timeout": "模型服務回應逾時。",
    "upstream_down": "{because}{seconds} 秒後會再次嘗試。",
    "upstream_no_stream": "模型服務傳回的不是串流回答。",
    # What happened here
    "fault": "服務內部發生錯誤，這不是您的問題。",
    "unavailable": "服務暫時無法使用，請稍後重試。",
    "overloaded": "服務目前過於繁忙，請在 {seconds} 秒後重試。",
    "draining": "服務正在關閉，請稍後重試。",
    # Who used what
    "missing_token": "缺少管理權杖，請透過 Authorization: Bearer 標頭提供。",
    "token_refused": "管理權杖未被接受。",
    "too_many_refusals": "被拒絕的嘗試過多，請在 {seconds} 秒後重試。",
    "unknown_parameter": "此處沒有參數 {member}。",
    "wrong_word": "{member} 必須是下列之一：{words}。",
    "wrong_moment": (
        "{member} 必須是日期（如 2026-11-01）、日期和時間（如 2026-11-01T12:30）或距今時長（如 24h、7d、2w）。"
    ),
    "too_long": "{member} 過長：最多 {limit} 個字元。",
    "no_ledger": "此閘道不記錄呼叫：state.directory 為空。",
    "ledger_failed": "目前無法讀取呼叫紀錄。",
    "report_too_slow": "報表耗時過長，請縮短時段。",
}
