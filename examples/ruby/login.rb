# A web login on PostgreSQL, in Ruby with pg and WEBrick. It finds the database as psql does (PGHOST ...);
# PORT is 8080, IDLE_TIMEOUT 1800 seconds. Behind TLS leave PLAIN_HTTP out: the cookie is then Secure.
#
#     apt-get install ruby ruby-pg ruby-webrick    # or: gem install pg webrick
#     PLAIN_HTTP=1 ruby examples/ruby/login.rb     # and open http://localhost:8080

require 'json'
require 'pg'
require 'time'
require 'uri'
require 'webrick'

COOKIE = ENV['PLAIN_HTTP'] ? 'session' : '__Host-session' # with this prefix, from no other host
ATTRIBUTES = "; Path=/; HttpOnly; SameSite=Lax#{'; Secure' unless ENV['PLAIN_HTTP']}"
IDLE_TIMEOUT = ENV.fetch('IDLE_TIMEOUT', '1800')

# Up to five connections, each used by one thread at a time; nil is one that has still to be made.
POOL = Queue.new([nil] * 5)

def connect
  PG.connect.tap { |connection| connection.type_map_for_results = PG::BasicTypeMapForResults.new(connection) }
end

# Returns the rows of a statement, which commits by itself. A token is a parameter, never in the logged text.
def query(sql, *parameters)
  connection = POOL.pop || connect
  connection.exec_params(sql, parameters).to_a
ensure
  POOL << (connection if connection&.status == PG::CONNECTION_OK)
end

def value(...) = query(...).first.values.first

Refused = Class.new(StandardError) # Its message begins with the status.

PAGES = {
  'GET /session' => :show, 'POST /note' => :save, 'POST /login' => :login, 'POST /renew' => :renew,
  'POST /logout' => :logout, 'POST /logout-everywhere' => :logout_everywhere, 'GET /sessions' => :list,
  'POST /sessions/end' => :end_other
}.freeze

# A request, and the session that its cookie opens.
Visit = Struct.new(:request, :response) do
  def answer
    return response.body = File.read(File.join(__dir__, '../index.html')) if request.path == '/'

    page = PAGES["#{request.request_method} #{request.path}"] or raise Refused, '404 no such page'
    raise Refused, '403 a form of another site' if request.request_method == 'POST' && other_site?

    @form = URI.decode_www_form(request.body.to_s).to_h
    @token = request.cookies.find { |cookie| cookie.name == COOKIE }&.value
    @session = query('SELECT * FROM sessionsql.use_session($1)', @token).first # which keeps it alive
    @user = @session && @session['subject']
    response['Content-Type'] = 'application/json'
    response['Cache-Control'] = 'no-store'
    response.body = JSON.generate(send(page))
  rescue Refused, PG::Error, ArgumentError => e
    response.body =
      case e
      when Refused then e.message
      when ArgumentError, PG::DataException then '400 not a form of this page' # a NUL byte, say
      else
        warn e.message # It says nothing about the session: the cookie stays.
        '503 try again'
      end
    response.status = response.body.to_i
  end

  # SameSite keeps the cookie out of other sites' forms. This tells those of sibling hosts as well.
  def other_site?
    site, origin = request['Sec-Fetch-Site'], request['Origin']
    return !%w[same-origin none].include?(site) if site
    origin && origin.sub(%r{\Ahttps?://}, '') != request['Host']
  end

  def give(token)
    response['Set-Cookie'] = "#{COOKIE}=#{token}#{ATTRIBUTES}#{'; Max-Age=0' unless token}"
    nil
  end

  def begin_session(note, subject)
    label = request['User-Agent'].to_s.gsub(/[^ -~]/n, '?')[0, 200]
    new = 'SELECT sessionsql.new_session($1, $2, subject => $3, label => $4)'
    give(value(new, note, IDLE_TIMEOUT, subject, label))
    { version: 1 }
  end

  def show
    s = @session || { 'payload' => '', 'version' => 0, 'expires_in' => 0 }
    { subject: @user, note: s['payload'], version: s['version'], expires_in: s['expires_in'] }
  end

  # A visitor's first note begins a session. Later ones name the version that they change.
  def save
    note, version = @form.fetch('note', ''), @form.fetch('version', '')
    return begin_session(note, nil) if version == '0' && !@session
    saved = value('SELECT sessionsql.save_session($1, $2, $3)', @token, note, version)
    raise Refused, '409 saved by somebody else in the meantime' if saved.zero?
    raise Refused, '401 log in' if saved.negative?
    { version: saved }
  end

  # Takes a visitor's note along, under a new token: whoever planted the old one is not logged in.
  def login
    user = @form.fetch('user', '')
    raise Refused, '401 log in' if user.empty? # and check the password here
    if @user
      query('SELECT sessionsql.end_session($1)', @token)
    else
      token = value('SELECT sessionsql.renew_session($1, $2)', @token, user)
    end
    token ? give(token) : begin_session('', user)
  end

  # After a change of rights, say. The old token is good for 10 s more, for requests under way.
  def renew
    token = value('SELECT sessionsql.renew_session($1)', @token)
    give(token) if token # else another request was first, which sets the cookie
  end

  def logout
    query('SELECT sessionsql.end_session($1)', @token)
    give(nil)
  end

  def logout_everywhere
    raise Refused, '401 log in' unless @user
    query('SELECT sessionsql.revoke_subject($1)', @user)
    give(nil)
  end

  def list
    query('SELECT * FROM sessionsql.list_sessions($1)', @token).map do |row|
      created_at = row['created_at'].iso8601 # An id is a string, because JavaScript would round a number.
      { id: row['id'].to_s, label: row['label'], created_at:, current: row['is_current'] }
    end
  end

  # Ends one other session of the same user.
  def end_other
    ended = value('SELECT sessionsql.end_listed_session($1, $2)', @token, @form['id'])
    raise Refused, '401 no such session of yours' unless ended
  end
end

server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: ENV.fetch('PORT', '8080'), AccessLog: [])
server.mount_proc('/') { |request, response| Visit.new(request, response).answer }
server.start
