# QEMU calls the system's D-Bus.
# Must: there is no socket, on the host there is.
# VM: taken
### host
[ -S /run/dbus/system_bus_socket ]
### qemu
fails reach "/run/dbus/system_bus_socket"
