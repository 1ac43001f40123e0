# A room with presence in Rails' Action Cable. The broker keeps the connections and asks this application, over HTTP or gRPC.

require "rails"
require "action_controller/railtie"
require "action_cable/engine"
require "anycable-rails"

class Application < Rails::Application
  config.load_defaults 7.1
  config.eager_load = true
  config.logger = ActiveSupport::Logger.new($stdout)
  config.secret_key_base = ENV.fetch("SECRET_KEY_BASE", "not a secret")
  config.hosts << ENV["HOST"] if ENV["HOST"]
  # Pages from anywhere; a real application names its origins here.
  config.action_cable.disable_request_forgery_protection = true
end

AnyCable.configure do |config|
  config.http_rpc = true # at /_anycable
  config.secret = ENV.fetch("ANYCABLE_SECRET") # the broker's, too; the keys for questions and publications follow from it
  config.broadcast_adapter = :http
  config.http_broadcast_url = ENV.fetch("BROKER_URL", "http://127.0.0.1:8080") + "/_broadcast"
end

ActionCable.server.config.cable = {"adapter" => "any_cable"}

module ApplicationCable
  class Connection < ActionCable::Connection::Base
    identified_by :user

    # A real application looks into the session or at a token.
    def connect
      self.user = request.params[:user].presence || reject_unauthorized_connection
    end
  end
end

class RoomChannel < ActionCable::Channel::Base
  include AnyCable::Rails::Channel::Presence

  state_attr_accessor :said # kept by the broker, since each question may reach another process

  def subscribed
    return reject unless params[:id]
    stream_from room, whisper: true
    join_presence room, id: user, info: {name: user.capitalize}
  end

  def say(data)
    self.said = said.to_i + 1
    ActionCable.server.broadcast(room, {user:, text: data["text"], number: said})
  end

  def away
    leave_presence user
  end

  private

  def room = "room/#{params[:id]}"

  def user = connection.user
end

ActionCable.server.config.connection_class = -> { ApplicationCable::Connection }

Rails.application.initialize!
