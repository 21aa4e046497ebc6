"""One file a model, and what they share: the bases `factors` and `visual`, `whitening` and `smoothing` of features."""
