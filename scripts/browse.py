"""Look at a run's neurons live: `python scripts/browse.py RUN [--model] [--configfile FILE ...]`.

Any neuron's page is made when it is asked for, and kept where Snakemake would have it. With --model the run's model is
loaded, and every page shows what its neuron does in a text of yours. On a cluster: on the login node, or, with --model,
in a job (srun). The lines that it prints say how to reach it from another computer. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gluscope.browse.maker import PageMaker
from gluscope.browse.served import Served
from gluscope.browse.server import PORT, Place, listen, serve
from gluscope.config.load import ConfigErrors
from gluscope.core.errors import ConfigError, GluscopeError
from gluscope.workflow.flow import Flow
from gluscope.workflow.job import OFFLINE_VARIABLES, explain
from gluscope.workflow.submitted import own_config
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

FOLDER = Path(__file__).resolve().parents[1]


def main() -> None:
    """Read the arguments and serve; an error is one line."""
    os.environ.update(dict.fromkeys(OFFLINE_VARIABLES, "1"))
    try:
        run(arguments())
    except KeyboardInterrupt:  # before it served anything
        sys.exit(130)
    except ConfigErrors as errors:
        sys.exit(str(errors))
    except (GluscopeError, OSError, MemoryError) as error:
        sys.exit(f"error: {explain(error)}")


def run(asked: argparse.Namespace) -> None:
    """Look first, load then, and listen before that takes its time."""
    served = Served.of(workflow(asked.configfile), asked.run, own_config(asked.configfile))
    served.check()
    place = Place(asked.host, asked.port)
    with listen(place) as server:
        own = model = None
        if asked.model:
            from gluscope.browse.own_text import OwnText, model_of_run  # imports torch

            say(f"Loading the model of {asked.run} ...")
            model = model_of_run(served)
            own = OwnText(served, model)
        maker = PageMaker(served, model, say)
        maker.warm()
        serve(maker, own, server, place, say)


def workflow(configfiles: list[str]) -> Flow:
    """The config as Snakemake would read it with these files."""
    config: dict[str, object] = {}
    for file in [f"{FOLDER}/config/config.yaml", *configfiles]:
        try:
            update_config(config, load_configfile(file))
        except (OSError, WorkflowError) as error:
            step = "name a config file (CONFIGFILE= with make)"
            raise ConfigError(file, "a config in YAML or JSON", " ".join(str(error).split()), step) from error
    return Flow(config, FOLDER)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--model", action="store_true", help="load the run's model, for texts of your own")
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    parser.add_argument("--port", type=int, default=PORT, help=f"to listen at, by default {PORT}; 0: any that is free")
    parser.add_argument("--host", default=Place.host, help="by default 127.0.0.1, which this machine alone reaches")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
