"""English of prompts: words and their spelling, noun phrases, and what sentences say is where and is to be done."""
