"""What is compiled for more than loops, to be called where machine code is in force (`blas.machine_code`)."""

from tinygrad_rnn.machine.choosing import products_found as products_found
from tinygrad_rnn.machine.sharing import shared_products as shared_products
from tinygrad_rnn.machine.sharing import summed_products as summed_products
from tinygrad_rnn.machine.softmax import odds_in_place as odds_in_place
from tinygrad_rnn.machine.target import multiplies_and_adds as multiplies_and_adds
