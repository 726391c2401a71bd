"""The command line: thin, over `training` and `tasks`; a file for each command. The program is `main`."""

from tinygrad_rnn.cli import (
    check_command,
    compare_command,
    derive_command,
    evaluate_command,
    generate_command,
    inspect_command,
    predict_command,
    score_command,
    selfcheck_command,
    train_command,
)
from tinygrad_rnn.cli.group import main as main

for _command in (
    check_command.check_command,
    compare_command.compare_command,
    derive_command.derive_command,
    evaluate_command.evaluate_command,
    generate_command.generate_command,
    inspect_command.inspect_command,
    predict_command.predict_command,
    score_command.score_command,
    selfcheck_command.selfcheck_command,
    train_command.train_command,
):
    main.add_command(_command)
