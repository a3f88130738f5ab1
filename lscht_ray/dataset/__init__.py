"""From annotations to samples; no video is opened.

`rows` what every reader returns · `problems` one thing that is wrong with a data set · `splits` divides rows into
train, val and test · `layouts` the column maps of known data sets · `annotations` reads any layout into samples ·
`finding` which layout a folder has · `reports` which files a check wrote · `samples` the records Sample and Clip ·
`demo` draws the embedded demo data set
"""
