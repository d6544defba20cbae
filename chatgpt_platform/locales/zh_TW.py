"""What callers are told, in Traditional Chinese."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad_request": "請求無效。",
        "missing_prompt": "缺少提示內容或內容為空：請提供 prompt（或 user_content）。",
        "bad_json": "請求主體不是有效的 JSON。",
        "not_utf8": "請求不是有效的 UTF-8 文字。",
        "too_deep": "JSON 巢狀層數過多。",
        "not_an_object": "JSON 請求主體必須是一個物件。",
        "wrong_type_string": "{member} 必須是字串。",
        "wrong_type_integer": "{member} 必須是整數。",
        "wrong_type_number": "{member} 必須是數字。",
        "wrong_type_boolean": "{member} 必須是 true 或 false。",
        "wrong_type_turns": "{member} 必須是對話清單，每一項都要有 role 和 content。",
        "out_of_range": "{member} 不能小於 {low}。",
        "duplicate_member": "{member} 重複出現。",
        "forbidden_member": "請求不能指定 {member}。",
        "too_many_parameters": "參數過多：最多 {limit} 個。",
        "bad_form": "無法讀取表單。",
        "missing_key": "沒有 API Key：請在 ApiKey 請求標頭或 api_key 參數中提供。",
        "key_refused": "API Key 被拒絕，請檢查。",
        "address_denied": "您的位址沒有使用此服務的權限。",
        "forbidden": "模型服務不允許此操作。",
        "not_found": "路徑 {path} 不存在。",
        "method_not_allowed": "此處不允許使用 {method} 方法。",
        "too_large": "請求過大：最大為 {limit}。",
        "media_type": "不支援此內容類型，請使用：{types}。",
        "encoding": "不支援壓縮的請求主體，請直接傳送原始內容。",
        "too_many_requests": "請求過於頻繁，請在 {seconds} 秒後重試。",
        "upstream_busy": "模型服務目前請求過多，請稍後重試。",
        "upstream_said": "模型服務回覆：{reason}",
        "unknown_model": "模型服務沒有此模型：{reason}",
        "upstream_refused": "模型服務拒絕了請求，狀態碼 {status}。",
        "fault": "閘道內部錯誤，管理員可以在日誌中查看原因。",
        "bad_upstream": "模型服務回覆了無法使用的內容。",
        "upstream_unreachable": "無法連線到模型服務。",
        "upstream_broke_off": "模型服務在回答過程中中斷。",
        "upstream_too_large": "模型服務的回答過大。",
        "upstream_timeout": "模型服務回應逾時。",
        "unavailable": "服務暫時無法使用，請稍後重試。",
        "draining": "服務正在關閉，請稍後重試。",
    }
)
