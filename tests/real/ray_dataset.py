"""Answers a dataset with `RouterStage` in two actors, and prints the rows as JSON. Run by Ray's own Python.

Its one argument is JSON: config, rows, batch_format, batch_size, options of the stage.
"""

from __future__ import annotations

import json
import logging
import sys
from importlib import import_module
from typing import Any

from lee_llm_router import load_config
from lee_llm_router.integrations.ray import RouterStage


def main() -> None:
    ray: Any = import_module("ray")  # which the type checker's environment has not
    import_module("ray.data")
    told: dict[str, Any] = json.loads(sys.argv[1])
    # Ray waits for ever where all logical CPUs are taken by actors: two of the four are left to it.
    ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    answered = ray.data.from_items(told["rows"]).map_batches(
        RouterStage,
        fn_constructor_kwargs={"config": load_config(told["config"]), **told["stage"]},
        batch_format=told["batch_format"],
        batch_size=told["batch_size"],
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=1,
    )
    json.dump(answered.to_pandas().to_dict("records"), sys.stdout, default=str)


if __name__ == "__main__":
    main()
