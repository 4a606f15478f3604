"""A normalizer as a user could write it, whose width differs from the number of features."""

import keras
import numpy as np

import gruvlike as gl


@keras.saving.register_keras_serializable(package="tests")
class Projection(gl.Normalizer):
    """Frames around their mean, along a few orthonormal directions that `random_seed` decides."""

    def __init__(self, features=None, width=6, random_seed=0, **kwargs):
        super().__init__(features, width, **kwargs)
        self.random_seed = random_seed
        self.mean = self.directions = None
        if features is not None:
            self._make_weights(features)

    def fit(self, music, encoder):
        statistics = gl.normalizers.measure(music, encoder)
        if self.features is None:
            self._make_weights(encoder.features)
        random = np.random.default_rng(self.random_seed).normal(size=(self.features, self.width))
        self.mean.assign(statistics.mean.astype("float32"))
        self.directions.assign(np.linalg.qr(random)[0].astype("float32"))
        return self

    @property
    def center(self):
        self._require_fitted()
        return keras.ops.zeros((self.width,), "float32")

    def normalize(self, frames, xp):
        return xp.matmul(frames - xp.convert_to_tensor(self.mean), xp.convert_to_tensor(self.directions))

    def restore(self, frames, xp):
        back = xp.transpose(xp.convert_to_tensor(self.directions))
        return xp.matmul(frames, back) + xp.convert_to_tensor(self.mean)

    def _make_weights(self, features):
        self.features = features
        self.mean = self.add_statistic("mean", (features,))
        self.directions = self.add_statistic("directions", (features, self.width))
