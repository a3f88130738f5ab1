"""One video file: what it holds, and its frames. The decoders (av, decord) are used here.

`recognise` which files are videos · `span` which part of a video is a clip · `frames` which frame indices make a clip ·
`pictures` scales, turns and packs a decoded picture · `opening` opens a video · `decode` decodes chosen frames ·
`seeking` reads parts of a long one · `facts` what is known of a file · `probe` finds that out, as a child process that
can be killed
"""
