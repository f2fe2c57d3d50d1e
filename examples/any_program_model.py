"""Stand in for a program with a model: read a prompt, write JSON lines, and fail with its own exit code.

``any_program.yaml`` calls it as ``any_program_model.py --model NAME``, with the prompt on standard input.
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
