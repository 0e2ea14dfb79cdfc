"""The recorders: what happened; they know the core, and neither pytest nor files nor budgets."""
