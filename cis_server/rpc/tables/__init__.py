"""Tables of leads as Arrow: bytes to columns, scores to bytes.

pyarrow is imported here and nowhere else in a serving process, and this package only when a
`ScoreTable` call arrives.
"""
