"""distilabel as a client of bench/labeling.py: text generation over the same judge prompts, in its own environment.

python labeling_distilabel.py URL PROMPTS.json     prints one line of JSON
"""

import json
import resource
import sys
import time

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

BATCH = 256


def main() -> None:
    url, path = sys.argv[1:3]
    with open(path, encoding="utf-8") as file:
        prompts = json.load(file)
    start_s = time.perf_counter()
    with Pipeline(name="bench") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": prompt} for prompt in prompts], batch_size=BATCH)
        judge = OpenAILLM(
            model="mock-judge",
            base_url=url,
            api_key="none",
            generation_kwargs={"max_new_tokens": 4, "temperature": 0.0},
        )
        load >> TextGeneration(llm=judge, input_batch_size=BATCH)
    rows = pipeline.run(use_cache=False)["default"]["train"]
    wall_s = time.perf_counter() - start_s
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(one.ru_utime + one.ru_stime for one in usage)
    done = sum(row["generation"] == "A" for row in rows)
    print(
        json.dumps({"done": done, "wall_s": wall_s, "cpu_s": cpu_s, "rss_mb": max(u.ru_maxrss for u in usage) / 1024})
    )


if __name__ == "__main__":
    main()
