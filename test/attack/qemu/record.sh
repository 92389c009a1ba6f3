# QEMU changes the record, from which the host's programs take the settings of this run.
# Must: it is read-only and no other file of the runtime directory can be made.
# VM: taken
### qemu
cd ..
cat ".$ID.record" | has '{'
fails sh -c 'echo x >>"$0"' ".$ID.record"
fails mv ".$ID.record" .moved
fails touch ".$ID.secrets"
fails mkdir other
