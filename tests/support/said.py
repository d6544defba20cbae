"""Short texts of many kinds, with the tokens that they have."""

from __future__ import annotations

import base64
import hashlib
from typing import Final, NamedTuple


class Said(NamedTuple):
    """``o200k``, ``cl100k``: its tokens in OpenAI's encodings of those names, as tests/node/tokens.mjs counts."""

    kind: str
    text: str
    o200k: int
    cl100k: int


_RANDOM: Final = b"".join(hashlib.sha256(bytes([index])).digest() for index in range(12))

_PROSE = """\
The gateway stands between a group of people and the service that answers them. Each of them gets a key of its own,
and the owner says how much may be asked with it, in tokens or in dollars, for a day or for a month. Nobody has to
share a password, and nobody can use up what belongs to somebody else. When an allowance is gone, the next question
is turned away politely, with the moment at which a new one will be taken. Most people never notice any of this.
"""

_CHAT = """\
hey, quick question!! do u know why my train app keeps crashing?? I updated it yesterday & since then it's been
awful... tried reinstalling, no luck :( thx in advance
"""

_PYTHON = '''\
def merge(left: list[int], right: list[int]) -> list[int]:
    """Two sorted lists as one that is sorted."""
    merged: list[int] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]


if __name__ == "__main__":
    print(merge([1, 4, 9, 16], [2, 3, 5, 7, 11, 13]))
'''

_C = """\
#include <stddef.h>
#include <stdint.h>

/* The checksum of a block, as the header of a frame carries it. */
uint32_t checksum(const uint8_t *data, size_t length)
{
    uint32_t sum = 0xFFFFFFFFu;
    for (size_t index = 0; index < length; index++) {
        sum ^= data[index];
        for (int bit = 0; bit < 8; bit++)
            sum = (sum >> 1) ^ (0xEDB88320u & (0u - (sum & 1u)));
    }
    return ~sum;
}
"""

_SQL = """\
SELECT c.name, COUNT(*) AS orders, SUM(o.amount) AS total
FROM customers AS c JOIN orders AS o ON o.customer_id = c.id
WHERE o.created_at >= '2026-01-01' AND c.country IN ('DE', 'FR', 'PL')
GROUP BY c.name HAVING SUM(o.amount) > 1000 ORDER BY total DESC LIMIT 20;
"""

_JSON = """\
{"id": 4711, "customer": {"name": "Ada", "email": "ada@example.org", "active": true}, "items": [
  {"sku": "BK-2041", "title": "Notebook, lined", "quantity": 3, "price": 4.95},
  {"sku": "PN-0007", "title": "Fountain pen", "quantity": 1, "price": 29.0, "options": ["blue", "medium"]}],
 "shipping": {"method": "express", "address": null}, "created": "2026-11-26T10:15:00Z"}
"""

_TABLE = """\
| region | customers | orders | revenue | change |
| --- | ---: | ---: | ---: | ---: |
| North | 1,204 | 3,981 | 84,210.55 | +4.2% |
| South | 987 | 2,870 | 61,007.10 | -1.3% |
| East | 1,530 | 5,102 | 110,940.00 | +7.8% |
| West | 744 | 1,995 | 39,118.72 | +0.4% |
"""

_YAML = """\
services:
  gateway:
    image: registry.example.org/tools/gateway:1.4
    restart: unless-stopped
    ports:
      - "8080:5000"
    environment:
      LOG_LEVEL: info
      TIME_ZONE: Europe/Berlin
    volumes:
      - ./config:/etc/gateway:ro
"""

_CHINESE = (
    "这个网关位于一群用户和回答他们的服务之间。每个人都有自己的密钥，管理员规定每天或每月可以使用多少令牌或多少"
    "钱。没有人需要共享密码，也没有人能用掉属于别人的额度。当额度用完时，下一个问题会被礼貌地拒绝，并说明什么时"
    "候可以再次提问。大多数人根本不会注意到这些。请帮我写一封简短的邮件，告诉同事明天的会议改到下午三点。"
)

_TRADITIONAL = (
    "這個閘道位於一群使用者和回答他們的服務之間。每個人都有自己的金鑰，管理員規定每天或每月可以使用多少權杖或多"
    "少錢。沒有人需要共用密碼，也沒有人能用掉屬於別人的額度。當額度用完時，下一個問題會被禮貌地拒絕，並說明什麼"
    "時候可以再次提問。大多數人根本不會注意到這些。請幫我寫一封簡短的郵件，告訴同事明天的會議改到下午三點。"
)

_JAPANESE = (
    "このゲートウェイは、利用者のグループと、彼らに答えるサービスとの間に立っています。それぞれの人が自分の鍵を"
    "持ち、管理者は一日または一か月にどれだけ使えるかを決めます。パスワードを共有する必要はなく、他の人の分を使"
    "い切ることもできません。残りがなくなると、次の質問は丁寧に断られ、いつまた質問できるかが伝えられます。"
)

_KOREAN = (
    "이 게이트웨이는 사용자들과 그들에게 답하는 서비스 사이에 있습니다. 모든 사람은 자신만의 키를 가지고 "
    "있으며, 관리자는 하루 또는 한 달에 얼마나 사용할 수 있는지 정합니다. 아무도 비밀번호를 공유할 필요가 "
    "없고, 다른 사람의 몫을 다 써 버릴 수도 없습니다. 한도가 다 되면 다음 질문은 정중하게 거절됩니다."
)

_RUSSIAN = (
    "Шлюз стоит между группой людей и сервисом, который им отвечает. У каждого есть собственный ключ, а "
    "владелец решает, сколько токенов или денег можно потратить за день или за месяц. Никому не нужно делиться "
    "паролем, и никто не может израсходовать то, что принадлежит другому. Когда лимит исчерпан, следующий "
    "вопрос вежливо отклоняется, и сообщается время, когда можно будет спросить снова. Большинство людей этого "
    "даже не замечает."
)

_UKRAINIAN = (
    "Шлюз стоїть між групою людей і службою, яка їм відповідає. Кожен має власний ключ, а власник вирішує, "
    "скільки коштів можна витратити за день або за місяць. Нікому не потрібно ділитися паролем, і ніхто не "
    "може витратити те, що належить іншому. Коли ліміт вичерпано, наступне запитання ввічливо відхиляється."
)

_GERMAN = (
    "Das Gateway steht zwischen einer Gruppe von Menschen und dem Dienst, der ihnen antwortet. Jeder bekommt "
    "einen eigenen Schlüssel, und der Eigentümer legt fest, wie viel damit am Tag oder im Monat verbraucht "
    "werden darf. Niemand muss ein Passwort teilen, und niemand kann aufbrauchen, was anderen gehört. Ist das "
    "Guthaben erschöpft, wird die nächste Frage höflich abgelehnt, zusammen mit dem Zeitpunkt, ab dem wieder "
    "eine angenommen wird. Über Geschwindigkeitsbegrenzungen und Rechnungszeiträume entscheidet die Verwaltung."
)

_FRENCH = (
    "La passerelle se trouve entre un groupe de personnes et le service qui leur répond. Chacun reçoit sa "
    "propre clé, et le propriétaire décide combien il peut dépenser par jour ou par mois. Personne n'a besoin "
    "de partager un mot de passe, et personne ne peut épuiser ce qui appartient à quelqu'un d'autre. Quand le "
    "crédit est épuisé, la question suivante est refusée poliment, avec l'heure à laquelle une nouvelle sera "
    "acceptée."
)

_SPANISH = (
    "La pasarela está entre un grupo de personas y el servicio que les responde. Cada una recibe su propia "
    "clave, y el dueño decide cuánto se puede gastar con ella al día o al mes. Nadie tiene que compartir una "
    "contraseña, y nadie puede agotar lo que pertenece a otra persona. Cuando se acaba el saldo, la siguiente "
    "pregunta se rechaza con cortesía."
)

_POLISH = (
    "Brama stoi między grupą ludzi a usługą, która im odpowiada. Każdy dostaje własny klucz, a właściciel "
    "ustala, ile można nim wydać w ciągu dnia lub miesiąca. Nikt nie musi dzielić się hasłem i nikt nie może "
    "zużyć tego, co należy do kogoś innego. Gdy limit się skończy, następne pytanie zostaje uprzejmie "
    "odrzucone."
)

_TURKISH = (
    "Ağ geçidi, bir grup insan ile onlara yanıt veren hizmet arasında durur. Herkesin kendi anahtarı vardır ve "
    "sahibi, bir günde veya bir ayda ne kadar harcanabileceğine karar verir. Kimsenin parolasını paylaşması "
    "gerekmez ve kimse başkasına ait olanı tüketemez. Kota bittiğinde bir sonraki soru kibarca reddedilir."
)

_VIETNAMESE = (
    "Cổng này đứng giữa một nhóm người và dịch vụ trả lời họ. Mỗi người có một khóa riêng, và chủ sở hữu quyết "
    "định mỗi ngày hoặc mỗi tháng được tiêu bao nhiêu. Không ai phải chia sẻ mật khẩu, và không ai có thể dùng "
    "hết phần của người khác."
)

_ARABIC = (
    "تقف البوابة بين مجموعة من الناس والخدمة التي تجيبهم. لكل شخص مفتاحه الخاص، ويقرر المالك مقدار ما يمكن "
    "إنفاقه في اليوم أو في الشهر. لا يحتاج أحد إلى مشاركة كلمة المرور، ولا يستطيع أحد أن يستهلك ما يخص غيره. "
    "عندما ينتهي الرصيد يُرفض السؤال التالي بلطف."
)

_HINDI = (
    "यह द्वार लोगों के एक समूह और उन्हें उत्तर देने वाली सेवा के बीच खड़ा है। हर व्यक्ति के पास अपनी कुंजी "
    "होती है, और मालिक तय करता है कि एक दिन या एक महीने में कितना खर्च किया जा सकता है। किसी को पासवर्ड साझा "
    "नहीं करना पड़ता।"
)

_EMOJI = "😀 Party tonight 🎉🎉 who's in? 🙋‍♀️🙋 Bring snacks 🍕🍿 and a good mood 😎👍 See you at 8 🕗❤️🚀✨"

SAID: Final = (
    Said("English", _PROSE, 105, 105),
    Said("chat", _CHAT, 40, 41),
    Said("Python", _PYTHON, 146, 146),
    Said("C", _C, 132, 130),
    Said("SQL", _SQL, 80, 80),
    Said("JSON", _JSON, 139, 140),
    Said("YAML", _YAML, 70, 70),
    Said("table", _TABLE, 126, 126),
    Said("base64", base64.b64encode(_RANDOM).decode(), 350, 366),
    Said("hexadecimal", _RANDOM.hex(), 429, 427),
    Said("emoji", _EMOJI, 42, 57),
    Said("Chinese, simplified", _CHINESE, 108, 162),
    Said("Chinese, traditional", _TRADITIONAL, 143, 209),
    Said("Japanese", _JAPANESE, 120, 159),
    Said("Korean", _KOREAN, 83, 142),
    Said("Russian", _RUSSIAN, 108, 179),
    Said("Ukrainian", _UKRAINIAN, 107, 187),
    Said("German", _GERMAN, 108, 140),
    Said("French", _FRENCH, 95, 112),
    Said("Spanish", _SPANISH, 75, 90),
    Said("Polish", _POLISH, 96, 113),
    Said("Turkish", _TURKISH, 84, 112),
    Said("Vietnamese", _VIETNAMESE, 60, 112),
    Said("Arabic", _ARABIC, 72, 175),
    Said("Hindi", _HINDI, 59, 213),
)
