"""Stands for a program that knows a model: reads a prompt, writes JSON lines, and fails with an exit code of its own.

It is called by ``any_program.yaml`` as ``any_program_model.py --model NAME``, with the prompt on standard input.
"""

import json
import sys

if __name__ == "__main__" and "--model" in sys.argv:
    prompt = sys.stdin.read()
    if "money" in prompt:
        print("budget spent, try again in 1h", file=sys.stderr)
        sys.exit(3)
    words = prompt.split()
    print(json.dumps({"event": "thinking"}))
    print(json.dumps({"event": "usage", "usage": {"in": len(words), "out": len(words)}}))
    print(json.dumps({"event": "answer", "model": sys.argv[-1], "text": " ".join(reversed(words))}))
else:
    print("see any_program.py")
