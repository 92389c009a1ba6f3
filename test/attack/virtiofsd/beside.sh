# virtiofsd makes a directory beside the shared ones.
# Must: read-only.
# VM: taken
### virtiofsd
fails mkdir /home/dev/share/other
fails touch /home/dev/.bashrc
fails rmdir /home/dev/share/work
