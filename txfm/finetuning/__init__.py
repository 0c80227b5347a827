"""Fine-tuning: training goes on with a data set of one's own, beside a training from scratch on the same samples."""
