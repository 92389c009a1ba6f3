# Root in the guest deletes or replaces a hidden file, so that the user's programs read another one.
# Must: refused.
### root
fails rm -f .env
fails sh -c 'echo evil >.env'
echo evil >other && fails mv -f other .env
fails mv --exchange other .env
rm other
### host
[ "$(cat .env)" = SECRET=1 ]
