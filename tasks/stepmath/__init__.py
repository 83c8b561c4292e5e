"""stepmath: word problems by number, whose every step can be checked."""
