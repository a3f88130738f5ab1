"""Whether a data set may be trained on: looks at every video, and says what is wrong.

`survey` looks at videos in child processes, or takes their facts from the record · `usable` which samples become
clips · `findings` lists the problems of a data set · `page` shows them as JSON, text or HTML
"""
