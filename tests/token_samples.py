"""Texts of many kinds, and how many tokens SmolLM2's tokenizer makes of each."""

from typing import NamedTuple


class Sample(NamedTuple):
    """A text and its tokens."""

    text: str
    tokens: int


SAMPLES = {
    "English": Sample(
        "The sky looks blue because the gases of the air scatter the short waves of sunlight much "
        "more strongly than the long ones. In the evening the light takes a longer way through "
        "the air, most of the blue is lost on it, and what reaches the eye is yellow and red.",
        56,
    ),
    "German": Sample(
        "Der Himmel erscheint blau, weil die Gase der Luft die kurzen Wellen des Sonnenlichts viel "
        "stärker streuen als die langen. Am Abend legt das Licht einen längeren Weg durch die Luft "
        "zurück, das meiste Blau geht dabei verloren, und das Auge erreichen Gelb und Rot.",
        95,
    ),
    "French": Sample(
        "Le ciel paraît bleu parce que les gaz de l'air diffusent les ondes courtes de la lumière "
        "beaucoup plus fortement que les longues. Le soir, la lumière parcourt un plus long chemin "
        "dans l'air, presque tout le bleu s'y perd, et l'œil ne reçoit que le jaune et le rouge.",
        92,
    ),
    "Polish": Sample(
        "Niebo wydaje się niebieskie, ponieważ gazy w powietrzu rozpraszają krótkie fale światła "
        "słonecznego o wiele mocniej niż długie. Wieczorem światło przebywa dłuższą drogę, "
        "większość błękitu ginie po drodze, a do oka docierają żółć i czerwień.",
        139,
    ),
    "Russian": Sample(
        "Небо кажется голубым, потому что газы воздуха рассеивают короткие волны солнечного света "
        "гораздо сильнее, чем длинные. Вечером свет проходит более длинный путь, почти вся синева "
        "теряется по дороге, и до глаза доходят жёлтый и красный цвета.",
        183,
    ),
    "Greek": Sample(
        "Ο ουρανός φαίνεται γαλάζιος επειδή τα αέρια σκεδάζουν τα μικρά μήκη κύματος του φωτός "
        "πολύ περισσότερο από τα μεγάλα. Το βράδυ το φως διανύει μεγαλύτερη απόσταση.",
        131,
    ),
    "Arabic": Sample(
        "تبدو السماء زرقاء لأن غازات الهواء تشتت الموجات القصيرة من ضوء الشمس أكثر بكثير من "
        "الموجات الطويلة. وفي المساء يقطع الضوء طريقا أطول خلال الهواء.",
        140,
    ),
    "Hindi": Sample(
        "आकाश नीला दिखता है क्योंकि हवा की गैसें सूर्य के प्रकाश की छोटी तरंगों को लंबी तरंगों की तुलना में "
        "बहुत अधिक बिखेरती हैं। शाम को प्रकाश हवा में लंबा रास्ता तय करता है।",
        180,
    ),
    "Chinese": Sample(
        "天空看起来是蓝色的,因为空气中的气体对阳光中短波的散射远远强于长波。傍晚时分,光线穿过空气的路程更长,"
        "大部分蓝光在途中散失,到达眼睛的是黄光和红光。",
        147,
    ),
    "Japanese": Sample(
        "空が青く見えるのは、空気中の気体が太陽光の短い波を長い波よりもずっと強く散乱させるからです。"
        "夕方になると光は空気の中をより長く進み、青い光の大部分が失われます。",
        145,
    ),
    "Korean": Sample(
        "하늘이 파랗게 보이는 것은 공기 중의 기체가 햇빛의 짧은 파장을 "
        "긴 파장보다 훨씬 강하게 산란시키기 때문입니다. "
        "저녁에는 빛이 공기 속을 더 오래 지나갑니다.",
        175,
    ),
    "Python": Sample(
        "def fair_shares(sizes: Sequence[int], total: int) -> list[int]:\n"
        "    shares = [0] * len(sizes)\n"
        "    order = sorted(range(len(sizes)), key=lambda index: sizes[index])\n"
        "    for done, index in enumerate(order):\n"
        "        shares[index] = min(sizes[index], total // (len(sizes) - done))\n"
        "        total -= shares[index]\n"
        "    return shares\n",
        95,
    ),
    "Markdown": Sample(
        "## Models\n\n| name | package | key |\n| --- | --- | --- |\n"
        "| `openai:…` | langchain-openai | `OPENAI_API_KEY` |\n"
        "| `offline:…` | built in | none |\n\nSee [Evaluation](evaluation.md), and set "
        "`base_url`.\n",
        76,
    ),
    "CSV": Sample(
        "\n".join(f"{n * 7919 % 100_000},{n * 104_729 % 99_991},{n * 31 % 977}" for n in range(40)),
        613,
    ),
    "JSON": Sample(
        "".join(
            f'{{"id": {n}, "name": "alpha", "score": {n * 37 % 100 / 100}}}, ' for n in range(20)
        ),
        429,
    ),
}
