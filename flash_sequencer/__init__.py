"""What the screen shows and when: plans, challenges, safety, the player, matching camera frames to steps.

The first room of the house: it imports numpy and nothing else, so that it can be rewritten for a phone line by line.
"""
