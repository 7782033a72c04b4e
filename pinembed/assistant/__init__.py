"""Conversations over a catalogue: wishes become acts, acts change a typed state, answers cite what is shown."""
