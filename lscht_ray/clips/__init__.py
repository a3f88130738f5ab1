"""From clips to batches on the model's device, decoded or from the cache.

`reader` makes of the settings what reads, samples and augments clips · `dataset` clips by position, and their order ·
`batch` what a loader hands to the loop · `loader` the loaders · `augmentation` what is drawn at random of each clip ·
`transforms` augments and normalises batches on the device · `mix` mixup and cutmix · `fill` fills the cache of decoded
clips · `contact_sheet` draws what the model sees
"""
