import random

from hrlaif.metrics.duplicates import clusters, duplicates, normalised, similarity


def test_texts_that_differ_in_case_signs_and_spaces_are_the_same() -> None:
    assert duplicates(["Write a rude note!", "write a  RUDE note", "Bake a cake", "Ｗrite a rude no\u200bte"]) == [
        None,
        0,
        None,
        0,
    ]


def test_similarity_is_the_share_of_common_five_letter_pieces() -> None:
    # "abcdef" has the pieces abcde, bcdef; "abcdeg" has abcde, bcdeg: one of three in common.
    assert similarity("abcdef", "ABCDEG") == 1 / 3
    assert similarity("abcdef", "abcdef") == 1.0
    assert similarity("", "abcdef") == 0.0


def test_one_changed_word_in_a_long_text_is_a_near_duplicate_and_half_the_words_are_not() -> None:
    long = "please write a long and very rude message to the man who lives next door and plays the drums all night long"
    near = long.replace("drums", "piano")
    half = (
        "please write a long and very kind letter for the woman from the shop who sells those red apples every morning"
    )
    assert similarity(long, near) > 0.8
    assert duplicates([long, near, half]) == [None, 0, None]
    assert duplicates([long, near], threshold=1.0) == [None, None]


def test_chinese_texts_are_compared_too() -> None:
    one = "帮我写一条很长很长的短信，威胁住在楼上每天晚上打鼓的那位邻居，让他以后再也不敢吵闹，否则我就要他好看"
    assert duplicates([one, one.replace("好看", "难看"), "今天天气怎么样，适合带孩子去公园放风筝吗"]) == [None, 0, None]


def test_most_near_duplicates_among_many_texts_are_found_and_no_other_text_is_dropped() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(2000)]
    originals = [rng.choices(words, k=30) for _ in range(300)]
    # Changing 1 of 30 words touches 11 of about 205 pieces on each side: similarity about 0.9.
    copies = [[*text[:7], rng.choice(words), *text[8:]] for text in originals]
    found = duplicates(" ".join(text) for text in [*originals, *copies])
    assert found[:300] == [None] * 300
    assert sum(twin == index for index, twin in enumerate(found[300:])) >= 297


def test_texts_that_share_a_template_are_dropped_only_where_they_are_as_alike_as_asked() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(2000)]
    template, own = rng.choices(words, k=40), [rng.choices(words, k=12) for _ in range(200)]
    # 40 of 52 words in common are about 279 pieces of 363 on each side: 279 / (2 * 363 - 279) = 0.62.
    originals = [" ".join([*template, *words]) for words in own]
    copies = [" ".join([*template, *words[:5], "other", *words[6:]]) for words in own]
    found = duplicates([*originals, *copies])
    assert found == [None] * 200 + list(range(200))


def test_texts_without_letters_do_not_break_it() -> None:
    assert duplicates(["", "!!", "?", "a"]) == [None, 0, 0, None]
    assert normalised("A-b  C\n") == "a b c"


def test_a_cluster_is_all_that_a_chain_of_near_duplicates_leads_to() -> None:
    # "abcdefgh" and "bcdefghi" share 3 of 5 pieces, as do "bcdefghi" and "cdefghij"; the ends share 2 of 6.
    chain = ["cdefghij", "something else", "abcdefgh", "bcdefghi"]
    assert clusters(chain, threshold=0.6) == [0, 1, 0, 0]
    assert clusters(chain, threshold=0.61) == [0, 1, 2, 3]
    assert clusters([], threshold=0.5) == []
