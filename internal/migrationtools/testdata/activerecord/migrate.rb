# migrate.rb up | down: what Rails' tasks db:migrate and db:rollback run.
require "active_record"

ActiveRecord::Base.establish_connection(ENV.fetch("DATABASE_URL"))
migrations = ActiveRecord::MigrationContext.new("migrate", ActiveRecord::SchemaMigration)
ARGV == ["down"] ? migrations.rollback : migrations.migrate
