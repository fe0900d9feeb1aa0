"""What the commands do, one module a subject. ``pbx.admin.table`` joins names and handlers."""
