"""What a phone does with a screen-flash capture: capture, landmarks, alignment, differences, model, decision.

This package owns every definition that ships (the D matrix, the alignment template, the capture format, the manifest);
training imports them from here, so that training and phone cannot drift apart. Importing it loads no heavy library.
"""
