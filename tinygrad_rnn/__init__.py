"""tinygrad_rnn: write the textbook equations; the gradient, the checks and the training program come with them."""
