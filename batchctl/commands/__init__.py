"""The commands of batchctl, one module each: the function of the module's name is the command."""
