"""What strangers wrote, read and checked: tables, clocks, names, spaces, masks and the files that hold them."""
