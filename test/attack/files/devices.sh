# Root in the guest makes device files in the work directory, which a program of the host might open.
# Must: refused.
### root
fails mknod "$NAME-c" c 1 1
fails mknod "$NAME-b" b 7 0
### host
[ -z "$(find . -type b -o -type c)" ]
