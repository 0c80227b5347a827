"""What an embedding is made of: which genes, which layer, how precise."""

from dataclasses import dataclass

from txfm.errors import InputError

PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """How a model turns the genes that it is shown into vectors; what a model cannot do it refuses.

    Attributes
    ----------
    model_layer : str
        The layer whose output is the vector: "cls" (the embedding), "block1" ..., "decoder1" ...
    batch_size : int, optional
        Samples per forward pass; None = from a memory formula. It does not change the vectors beyond rounding (1e-5).
    precision : {"float32", "bf16"}
        Of the matrix products. In bf16 the vectors are good to two digits.
    """

    model_layer: str = "cls"
    batch_size: int | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError("The batch size cannot be used", expected="1 sample or more", found=str(self.batch_size))
        if self.precision not in PRECISIONS:
            raise InputError("The precision is unknown", expected=" or ".join(PRECISIONS), found=self.precision)


PLAIN = EncoderOptions()


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions(EncoderOptions):
    """The same, and which measured genes the model is shown.

    Attributes
    ----------
    genes : "all" or int
        "all" shows every measured gene of the vocabulary, which gives far better embeddings than training's K. A number
        shows that many, drawn once (seeded) and the same for all samples.
    n_masks : int
        With a number of genes: how many such draws, seeded 0, 1, ..., are embedded and averaged.
    """

    genes: str | int = "all"
    n_masks: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = not isinstance(self.genes, bool) and isinstance(self.genes, int) and self.genes >= 1
        if self.genes != "all" and not whole:
            raise InputError(
                "The choice of genes is unknown", expected="'all' or a number of genes", found=repr(self.genes)
            )
        if self.n_masks < 1 or (self.n_masks > 1 and self.genes == "all"):
            raise InputError(
                "The number of masks cannot be used",
                expected="1 or more, and a number of genes if it is above 1: all genes are one mask",
                found=f"n_masks {self.n_masks}, genes {self.genes}",
                todo="leave n_masks (--n-masks) out: all genes at once give better embeddings than averages of masks",
            )
