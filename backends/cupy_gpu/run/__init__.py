"""Row groups are taken through the layers on streams, alone or in teams across devices."""
