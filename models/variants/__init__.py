"""Published recurrent cells, each as its equations. `VARIANTS` has them by the name that the command line takes."""

from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.variants.additive import HighwayRNNCell as HighwayRNNCell
from tinygrad_rnn.models.variants.additive import IndRNNCell as IndRNNCell
from tinygrad_rnn.models.variants.additive import MinGRUCell as MinGRUCell
from tinygrad_rnn.models.variants.additive import MinLSTMCell as MinLSTMCell
from tinygrad_rnn.models.variants.additive import QRNNCell as QRNNCell
from tinygrad_rnn.models.variants.additive import RANCell as RANCell
from tinygrad_rnn.models.variants.additive import SCRNCell as SCRNCell
from tinygrad_rnn.models.variants.additive import SRUCell as SRUCell
from tinygrad_rnn.models.variants.greff import NoForgetGateCell as NoForgetGateCell
from tinygrad_rnn.models.variants.greff import NoInputActivationCell as NoInputActivationCell
from tinygrad_rnn.models.variants.greff import NoInputGateCell as NoInputGateCell
from tinygrad_rnn.models.variants.greff import NoOutputActivationCell as NoOutputActivationCell
from tinygrad_rnn.models.variants.greff import NoOutputGateCell as NoOutputGateCell
from tinygrad_rnn.models.variants.greff import NoPeepholesCell as NoPeepholesCell
from tinygrad_rnn.models.variants.grus import FastGRNNCell as FastGRNNCell
from tinygrad_rnn.models.variants.grus import JANETCell as JANETCell
from tinygrad_rnn.models.variants.grus import LayerNormGRUCell as LayerNormGRUCell
from tinygrad_rnn.models.variants.grus import MGUCell as MGUCell
from tinygrad_rnn.models.variants.grus import MUT1Cell as MUT1Cell
from tinygrad_rnn.models.variants.grus import MUT2Cell as MUT2Cell
from tinygrad_rnn.models.variants.grus import MUT3Cell as MUT3Cell
from tinygrad_rnn.models.variants.grus import UGRNNCell as UGRNNCell
from tinygrad_rnn.models.variants.linear_attention import DeltaNetCell as DeltaNetCell
from tinygrad_rnn.models.variants.linear_attention import FastWeightsCell as FastWeightsCell
from tinygrad_rnn.models.variants.linear_attention import GatedDeltaNetCell as GatedDeltaNetCell
from tinygrad_rnn.models.variants.linear_attention import GatedLinearAttentionCell as GatedLinearAttentionCell
from tinygrad_rnn.models.variants.linear_attention import RWKV4Cell as RWKV4Cell
from tinygrad_rnn.models.variants.linear_attention import TTTLinearCell as TTTLinearCell
from tinygrad_rnn.models.variants.lstms import CoupledLSTMCell as CoupledLSTMCell
from tinygrad_rnn.models.variants.lstms import HyperLSTMCell as HyperLSTMCell
from tinygrad_rnn.models.variants.lstms import LayerNormLSTMCell as LayerNormLSTMCell
from tinygrad_rnn.models.variants.lstms import MogrifierLSTMCell as MogrifierLSTMCell
from tinygrad_rnn.models.variants.lstms import MultiplicativeIntegrationLSTMCell as MultiplicativeIntegrationLSTMCell
from tinygrad_rnn.models.variants.lstms import MultiplicativeLSTMCell as MultiplicativeLSTMCell
from tinygrad_rnn.models.variants.lstms import ONLSTMCell as ONLSTMCell
from tinygrad_rnn.models.variants.lstms import PeepholeLSTMCell as PeepholeLSTMCell
from tinygrad_rnn.models.variants.lstms import PhasedLSTMCell as PhasedLSTMCell
from tinygrad_rnn.models.variants.lstms import ProjectedLSTMCell as ProjectedLSTMCell
from tinygrad_rnn.models.variants.memory import AdaptiveTimeCell as AdaptiveTimeCell
from tinygrad_rnn.models.variants.memory import MemoryCell as MemoryCell
from tinygrad_rnn.models.variants.oscillators import AntisymmetricRNNCell as AntisymmetricRNNCell
from tinygrad_rnn.models.variants.oscillators import CoRNNCell as CoRNNCell
from tinygrad_rnn.models.variants.oscillators import LEMCell as LEMCell
from tinygrad_rnn.models.variants.oscillators import LipschitzRNNCell as LipschitzRNNCell
from tinygrad_rnn.models.variants.searched import NASCell as NASCell
from tinygrad_rnn.models.variants.state_spaces import LRUCell as LRUCell
from tinygrad_rnn.models.variants.state_spaces import RGLRUCell as RGLRUCell
from tinygrad_rnn.models.variants.state_spaces import S4DCell as S4DCell
from tinygrad_rnn.models.variants.state_spaces import SelectiveSSMCell as SelectiveSSMCell
from tinygrad_rnn.models.variants.timescales import ClockworkCell as ClockworkCell
from tinygrad_rnn.models.variants.timescales import LMUCell as LMUCell
from tinygrad_rnn.models.variants.xlstm import MLSTMCell as MLSTMCell
from tinygrad_rnn.models.variants.xlstm import SLSTMCell as SLSTMCell

VARIANTS: dict[str, type[Cell]] = {
    "peephole-lstm": PeepholeLSTMCell,
    "coupled-lstm": CoupledLSTMCell,
    "lstm-nig": NoInputGateCell,
    "lstm-nfg": NoForgetGateCell,
    "lstm-nog": NoOutputGateCell,
    "lstm-niaf": NoInputActivationCell,
    "lstm-noaf": NoOutputActivationCell,
    "lstm-np": NoPeepholesCell,
    "projected-lstm": ProjectedLSTMCell,
    "layernorm-lstm": LayerNormLSTMCell,
    "multiplicative-lstm": MultiplicativeLSTMCell,
    "on-lstm": ONLSTMCell,
    "phased-lstm": PhasedLSTMCell,
    "layernorm-gru": LayerNormGRUCell,
    "mgu": MGUCell,
    "mut1": MUT1Cell,
    "mut2": MUT2Cell,
    "mut3": MUT3Cell,
    "ugrnn": UGRNNCell,
    "janet": JANETCell,
    "ran": RANCell,
    "indrnn": IndRNNCell,
    "scrn": SCRNCell,
    "highway-rnn": HighwayRNNCell,
    "mingru": MinGRUCell,
    "minlstm": MinLSTMCell,
    "sru": SRUCell,
    "qrnn": QRNNCell,
    "lru": LRUCell,
    "s4d": S4DCell,
    "mamba": SelectiveSSMCell,
    "rg-lru": RGLRUCell,
    "fast-weights": FastWeightsCell,
    "rwkv-4": RWKV4Cell,
    "gla": GatedLinearAttentionCell,
    "deltanet": DeltaNetCell,
    "gated-deltanet": GatedDeltaNetCell,
    "ttt-linear": TTTLinearCell,
    "memory": MemoryCell,
    "adaptive-time": AdaptiveTimeCell,
    "slstm": SLSTMCell,
    "mlstm": MLSTMCell,
    "cornn": CoRNNCell,
    "lem": LEMCell,
    "clockwork": ClockworkCell,
    "lmu": LMUCell,
    "mogrifier-lstm": MogrifierLSTMCell,
    "nas": NASCell,
    "fastgrnn": FastGRNNCell,
    "antisymmetric-rnn": AntisymmetricRNNCell,
    "lipschitz-rnn": LipschitzRNNCell,
    "hyper-lstm": HyperLSTMCell,
    "mi-lstm": MultiplicativeIntegrationLSTMCell,
}
