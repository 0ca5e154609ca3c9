"""What `plyr doctor` looks at, a module for each subject. Nothing here changes anything: a blob that is
stored, to see whether one can be, is removed."""
