import math

from hrlaif.metrics import distinct_n, words


def test_words_are_runs_of_letters_or_single_chinese_characters() -> None:
    assert words("Don't count 3 commas, please!") == ["Don't", "count", "3", "commas", "please"]
    assert words("答案是42。OK") == ["答", "案", "是", "42", "OK"]
    assert words(" \n … ") == []


def test_distinct_n_falls_when_texts_repeat_each_other() -> None:
    # Bigrams: (a b) (b c) and (A b) (b d): three different of four, since case does not count.
    assert distinct_n(["a b c", "A b d"], 2) == 3 / 4
    assert distinct_n(["a a a a"], 1) == 1 / 4
    assert math.isnan(distinct_n(["one"], 2))
