import os

from alembic import context
from sqlalchemy import create_engine

if context.is_offline_mode():
    context.configure(
        url=os.environ["DATABASE_URL"], literal_binds=True, dialect_opts={"paramstyle": "named"}
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
