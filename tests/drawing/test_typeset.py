"""Typography of pages."""

from slopewise.drawing import typeset


def test_text_is_typeset_and_code_cells_and_attributes_are_not():
    kept = '<td class="num">1 of 2</td><pre>-1 x</pre><script>f(-1 % 2)</script><a title="-1 %">'
    assert typeset(kept) == kept
    assert typeset("<p>(-1.5 points, 10 seeds), 10-19, 1e-5</p>") == "<p>(−1.5\xa0points, 10\xa0seeds), 10-19, 1e-5</p>"
    assert typeset("3 ± 1 %, p = 0.2, p &lt; 0.001") == "3\xa0±\xa01\xa0%, p\xa0=\xa00.2, p\xa0&lt;\xa00.001"
    assert typeset("relu_1 x, [-.5 to 2 and 3]") == "relu_1 x, [−.5 to 2 and 3]"
