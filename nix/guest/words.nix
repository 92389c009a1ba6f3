# The words of a file, without comment lines, which start with #.
lib: file:
lib.concatMap (line: lib.filter (word: word != "") (lib.splitString " " line)) (
  lib.filter (line: !lib.hasPrefix "#" line) (lib.splitString "\n" (lib.readFile file))
)
