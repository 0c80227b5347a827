from curation.split import validation_batches


def test_whole_batches_come_as_close_to_the_share_as_they_can() -> None:
    sizes = {f"b{i}": 10 for i in range(100)}
    assert len(validation_batches(sizes, study="s", share=0.1, seed=0)) == 10


def test_one_batch_is_all_for_training() -> None:
    assert validation_batches({"b": 5}, study="s", share=0.1, seed=0) == frozenset()


def test_two_batches_give_the_smaller_one_where_none_fits() -> None:
    assert validation_batches({"big": 60, "small": 40}, study="s", share=0.05, seed=0) == {"small"}


def test_never_all_batches_are_held_out() -> None:
    assert len(validation_batches({"a": 1, "b": 1}, study="s", share=0.99, seed=0)) == 1


def test_an_empty_batch_does_not_count() -> None:
    assert validation_batches({"a": 3, "b": 0}, study="s", share=0.1, seed=0) == frozenset()


def test_a_batch_keeps_its_turn_when_the_sizes_of_others_change() -> None:
    sizes = {f"b{i}": 10 for i in range(50)}
    before = validation_batches(sizes, study="s", share=0.1, seed=0)
    loser = next(batch for batch in sizes if batch not in before)
    after = validation_batches(sizes | {loser: 9}, study="s", share=0.1, seed=0)
    assert len(before & after) >= 4


def test_study_and_seed_change_the_draw() -> None:
    sizes = {f"b{i}": 10 for i in range(50)}
    draws = {validation_batches(sizes, study=study, share=0.1, seed=seed) for study in "ab" for seed in (0, 1)}
    assert len(draws) == 4
