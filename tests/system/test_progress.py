"""Reporting to a listener."""

from vqvae2.system.progress import Silence, batch_progress


def test_several_batches_are_one_progress():
    seen = []

    class Listener(Silence):
        def progress(self, progress):
            seen.append((progress.done, progress.total, progress.unit))

    for before, count in ((0, 2), (2, 2), (4, 1)):
        report = batch_progress(Listener(), before=before, count=count, num_images=5)
        for position in (1, 2, 3):
            report(position * count, 3 * count)
    assert [done for done, _, _ in seen] == [2, 4, 6, 8, 10, 12, 13, 14, 15]
    assert {(total, unit) for _, total, unit in seen} == {(15, "codes")}
