"""Tasks: what is learnt, a file each, and what a trained model is used for."""

from tinygrad_rnn.inspection.views import Chart as Chart
from tinygrad_rnn.inspection.views import HeatMap as HeatMap
from tinygrad_rnn.tasks.finding import TASKS as TASKS
from tinygrad_rnn.tasks.finding import find_task as find_task
from tinygrad_rnn.tasks.training import Answering as Answering
from tinygrad_rnn.tasks.training import Trained as Trained
from tinygrad_rnn.tasks.training import load_model as load_model
from tinygrad_rnn.tasks.training import train as train
from tinygrad_rnn.training.options import TrainingOptions as TrainingOptions
from tinygrad_rnn.training.options import option as option
from tinygrad_rnn.training.task import Task as Task
