"""Progress of parts is reported as progress of the whole."""

from vqvae2.sampling.hooks import Hooks
from vqvae2.system.progress import Listener


class Recorder(Listener):
    def __init__(self):
        self.seen = []

    def progress(self, progress):
        self.seen.append((progress.done, progress.total, progress.unit))


def test_several_batches_are_one_progress():
    listener = Recorder()
    hooks = Hooks.for_listener(listener)
    for before, count in ((0, 2), (2, 2), (4, 1)):
        batch = hooks.of_batch(before=before, num_images=count, total_images=5)
        for position in (1, 2, 3):
            batch.on_progress(position * count, 3 * count)
    assert listener.seen == [(done, 15, "codes") for done in (2, 4, 6, 8, 10, 12, 13, 14, 15)]


def test_a_part_counts_by_its_share_however_many_steps_it_takes():
    listener = Recorder()
    part = Hooks.for_listener(listener, "images").of_part(before=10, share=4, total=20)
    for done in (0, 50, 100):
        part.on_progress(done, 100)
    assert listener.seen == [(10, 20, "images"), (12, 20, "images"), (14, 20, "images")]
