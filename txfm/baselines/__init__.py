"""What TxFM is compared with: models fitted on the very same training stores, used through the same `embed`.

`python -m txfm baseline` fits one and writes a model folder (docs/model-format.md); `txfm.load` opens it.
"""
